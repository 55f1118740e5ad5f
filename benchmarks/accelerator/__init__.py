"""``python -m benchmarks accelerator``: what only an accelerator can tell, in one call of some minutes.

``sections`` lists the sections, each a module of this folder with its ``CHECKS`` and a process with a time limit;
``bench`` is what every check is given, ``command`` runs the sections, ``needs`` holds what must be reached, ``report``
writes it down, ``wheels`` brings what is missing to a machine without network.
"""
