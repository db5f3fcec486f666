"""Old-film restoration in plain torch: video streams, film damage, and the stages that undo it.

The package never imports ComfyUI; the node pack around it does.
"""

__version__ = "0.1.0"
