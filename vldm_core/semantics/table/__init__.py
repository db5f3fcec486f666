"""The table of shots: in memory, as text, as a spreadsheet and as a picture."""
