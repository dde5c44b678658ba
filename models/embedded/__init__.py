"""The embedded family: tiny models with the classes and the loading code of the large ones.

`world` is what they see and speak about, `train` makes them, `weights` is what is shipped, `evaluate` measures it.
"""
