"""ComfyUI entry point of the VLDM film-restoration nodes."""

import logging

WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint():  # the type lives in the host, which is not importable outside it
    """Return the node extension; called once by ComfyUI after it has loaded this package."""
    # Imported here, so that tools which import the checkout (pytest among them) need neither ComfyUI nor torch.
    try:
        from .nodes import VLDMExtension
    except Exception:
        # The host reduces an error in an entry point to one line without a traceback.
        logging.getLogger(__name__).exception("ComfyUI-VLDM could not be loaded")
        raise
    return VLDMExtension()
