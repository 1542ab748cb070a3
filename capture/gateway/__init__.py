"""What foreign capture clients say, translated into headstream's own events.

Pure: nothing here opens a socket or a file. The shells that listen and read pass messages in.
"""
