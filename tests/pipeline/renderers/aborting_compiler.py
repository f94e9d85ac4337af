"""As a compiler whose assertion fails."""

import os

if __name__ == "__main__":
    os.abort()
