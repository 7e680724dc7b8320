"""System tests with PySys for software that ships as containers.

Importing this package imports nothing else: each wing brings what it needs.
"""

__version__ = "0.1.0"
