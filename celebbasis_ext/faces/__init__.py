"""From a photo to an aligned face and the numbers that say whose it is.

`base` holds the Protocol and the choice of the face, `align` the geometry, `opencv` and `insight` the two
backends. Nothing is imported here, so that naming the package costs nothing.
"""
