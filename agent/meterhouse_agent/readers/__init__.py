"""What runs in child processes of the agent: readers of vendors' C libraries.

Apart from ``sources`` because a reader must stay small: it imports neither pydantic nor asyncio.
"""
