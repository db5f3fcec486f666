"""PiSA-SR: adapters for pixels and for meaning, with a dial between them."""
