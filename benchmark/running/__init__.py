"""One run: its cells, the plan of what they need, the protocols, the stages, and the runner that enters them."""
