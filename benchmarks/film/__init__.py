"""The film benchmark: whole restorations beside the programs that restorers run, on two ageing models."""
