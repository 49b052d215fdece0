Metrics and status tell what each UDP listener received, sent and could not send, and how many rates were forgotten for want of room.
