"""What touches ComfyUI: models, devices, progress, interrupt and files."""
