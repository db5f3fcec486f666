"""StableSR (Wang et al., IJCV 2024): a structure encoder that knows the time, and modulation in every ResBlock."""
