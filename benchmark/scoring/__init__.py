"""From pages to scores: decoding, metrics, and the likeness to the teacher."""
