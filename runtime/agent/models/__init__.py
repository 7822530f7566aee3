"""What answers an agent's prompt: Claude, or the offline model of development and tests."""
