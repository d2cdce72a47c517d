"""One module for each subject; every function is pure: what is known in, observations out.

An observation is there whenever its subject is, with a value or with the reason why it has none.
Where a subject is there no more, so is its observation, and what was open of it ends.
"""
