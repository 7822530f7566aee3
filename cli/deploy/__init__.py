"""Owns changing cloud stacks through the engine: `fleet up STACK…`, `down`, `refresh` and `drift`.

order and guards are pure; changes is what the engine said as data; engine alone imports the Automation API; run ties
them. Nothing here knows what a stack is made of: that is infra's.
"""
