"""What reading a control takes from reading any published checkpoint."""

from ...files.published import below as below
from ...files.published import fill as fill
from ...files.published import numbered as numbered
from ...files.published import shape_of as shape_of
