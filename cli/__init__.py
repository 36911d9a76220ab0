"""The command line: paritygate …"""
