"""Donut's folder format: one's own documents in, embedded ones out.

The format (github.com/clovaai/donut, "For Datasets"): a folder a split with images and ``metadata.jsonl``, of
which a line is ``{"file_name": ..., "ground_truth": "{\"gt_parse\": ...}"}``.
"""
