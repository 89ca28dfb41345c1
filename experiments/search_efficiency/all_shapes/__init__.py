"""How near to the best curve of all does a search come for the price of a hundred runs?

Searches of all shapes at once, by the model of curves or by other samplers, and of single families. Every run
has one seed; the choices that a search names on the way are judged by seeds that no search had.
"""
