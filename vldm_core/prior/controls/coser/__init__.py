"""CoSeR (Sun et al., CVPR 2024), as the endorsed reproduction by Tianhe Wu has it."""
