"""`mailsvc crashtest`: real processes on this machine's disk, killed again and again, and a count of what became of
every mail. Nothing leaves the machine: the provider is one of its own, on the loopback interface, with a ledger.
"""
