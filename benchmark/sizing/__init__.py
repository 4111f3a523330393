"""``costs``: what every strategy's model costs at a scale. Nothing is trained, for costs do not ask what was learnt."""
