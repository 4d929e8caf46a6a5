"""Train very deep networks with skip-connections, and end up without them.

The subpackages, in the order in which they may import each other: `data`, `connections`, `models`, `constraints`,
`training`, `ensemble`, `diagnostics`, `plots`, `segmentation`, `playground`, `widgets`, `exercises`, `evidence`,
`batch`, `cli`.
"""

__version__ = "0.1.0"
