"""Training of the fusion of what a prior made with the pre-restored picture."""
