"""Reading film files and image sequences, with every timestamp and with faults named."""
