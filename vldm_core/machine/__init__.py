"""The machine and what is installed on it: devices, memory, optional libraries."""
