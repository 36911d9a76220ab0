"""What services import to speak: publisher, shadow router, outcomes, platform reports."""
