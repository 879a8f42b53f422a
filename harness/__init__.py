"""Plan, run, measure and report: everything between the command line and the clients."""
