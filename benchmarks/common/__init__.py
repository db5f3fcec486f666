"""The scaffold of the benchmarks: settings, material, workers, targets, tables, curves, pages and reports."""
