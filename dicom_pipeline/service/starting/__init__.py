"""Before the processes of the service start: checks (what cannot work), announcement (what will be done, a line each)."""
