"""The pilot: does sifting save time on this model, and from which ``beta_value`` on?"""
