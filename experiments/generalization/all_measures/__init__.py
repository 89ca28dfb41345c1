"""Which measure of generalisation ranks networks, on images like those trained on and on shifted ones?

Networks that share a training loss differ in width, depth, optimizer, learning rate, decay and seed. All
measures of `geometry.measures` are ranked against their errors on all other images, as these are and spoilt.
"""
