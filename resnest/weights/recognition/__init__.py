"""Which network do these tensors belong to, and are they all there?"""
