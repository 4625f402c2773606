"""One attempt at a job: its lease kept, its picture made and judged, its failure classed."""
