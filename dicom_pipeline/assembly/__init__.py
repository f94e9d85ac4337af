"""ASSEMBLE: when a study is complete, what happens then, and when its files may go.

completion (pure: is a study complete), ages (proof against clocks that jump), assembler (complete studies become revisions),
retention (which files may be removed) and cleaner (removes them as the settings say).
"""
