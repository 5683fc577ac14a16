"""What every gRPC service of semcast shares: messages, server, client, metrics, settings.

Nothing here imports torch, av, aiortc or cv2; the channel emulator runs on it alone.
"""
