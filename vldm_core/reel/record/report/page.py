"""What stands around the contents of a report: its head with all styles, and its end."""

OPENING = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
:root { --ink: #1c1b19; --soft: #6b675f; --line: #ddd8ce; --paper: #fbfaf7; --dirt: #d1495b; --scratch: #2e86ab;
  --standing: #edae49; --seam: #6a994e; --named: #7b5ea7; }
body { margin: 0 auto; max-width: 1180px; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; }
h3 small { font-weight: normal; color: var(--soft); margin-left: .8em; }
p { margin: .2rem 0 .6rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 600; white-space: nowrap; }
thead th { color: var(--soft); font-weight: normal; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font-size: .85em; color: var(--soft); overflow-wrap: anywhere; }
.where { color: var(--soft); }
.swatch { display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 2px; }
.swatch.dirt { background: var(--dirt); } .swatch.scratch { background: var(--scratch); }
.swatch.standing { background: var(--standing); } .swatch.seam { background: var(--seam); }
.swatch.named { background: var(--named); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 12px; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .85em; }
img { display: block; width: 100%; height: auto; }
.marked { position: relative; }
.marked svg { position: absolute; inset: 0; width: 100%; height: 100%; }
rect { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; }
rect.dirt { stroke: var(--dirt); } rect.scratch { stroke: var(--scratch); } rect.standing { stroke: var(--standing); }
rect.seam { stroke: var(--seam); } rect.named { stroke: var(--named); }
section { break-inside: avoid; }
@media print { body { max-width: none; padding: 0; } .pair { grid-template-columns: 1fr 1fr; } }
</style>
</head>
<body>
"""

CLOSING = "</body>\n</html>\n"
