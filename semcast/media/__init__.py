"""WebRTC in and out: H.264 encoded once and shared by all viewers (WHEP), webcams in (WHIP).

| module         | answers                                                                     |
|----------------|-----------------------------------------------------------------------------|
| `h264`         | how is a picture turned into H.264 that every browser decodes?              |
| `rtp_clock`    | what RTP timestamp does a picture get?                                      |
| `encode_plan`  | what does the encoder do next: a frame, a repeat, an IDR, nothing?          |
| `publisher`    | how does one encoding reach many viewers without waiting for any?           |
| `ice`          | which servers and addresses does a peer connection use?                     |
| `offer`        | is this SDP offer one that can be answered?                                 |
| `peer`         | how does one peer connection live, and end without a trace?                 |
| `viewers`      | WHEP server side                                                            |
| `webcam`       | WHIP server side                                                            |

HTTP and gRPC are not here: a service hands SDP text in and gets SDP text out.
"""
