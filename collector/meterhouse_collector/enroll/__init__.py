"""The local authority: who may speak for which node, as certificates, and who may no more."""
