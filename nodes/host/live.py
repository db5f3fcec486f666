"""The frame that a node is working on, shown on the node while it works.

The host's own live preview is not used for nodes that end with a film or a picture: its frontend keeps showing the last
live picture in the place of the result, and its newer one reports that it cannot play it. These pictures go to the
pack's own part of the node (web/js/results.js), which puts them away when the result arrives.
"""

import base64
import io as streams

from comfy_execution.utils import get_executing_context
from PIL import Image

EVENT = "vldm.live"
"""Name of the message; the frontend listens to it."""

_QUALITY = 80


def show_live(picture: Image.Image) -> None:
    """Send a picture to the node that is running, for whoever started it; without a listener nothing happens."""
    context = get_executing_context()
    if context is None:
        return
    # Imported here: only inside a running server is there somebody to show it to.
    from server import PromptServer

    stream = streams.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    data = {"node": context.node_id, "picture": f"data:image/jpeg;base64,{encoded}"}
    PromptServer.instance.send_sync(EVENT, data, PromptServer.instance.client_id)
