"""Image sequences as films: a folder of numbered pictures in, a folder of numbered pictures out."""
