"""WebRTC in and out: H.264 encoded once and shared by all viewers (WHEP), webcams in (WHIP).

| module         | answers                                                                     |
|----------------|-----------------------------------------------------------------------------|
| `h264`         | how is a picture turned into H.264 that every browser decodes?              |
| `rtp_clock`    | what RTP timestamp does a picture get?                                      |
| `encode_plan`  | what does the encoder do next: a frame, a repeat, an IDR, nothing?          |
| `publisher`    | how does one encoding reach many viewers without waiting for any?           |
| `rtp_h264`     | how is an access unit cut into RTP payloads?                                |
| `fanout_sender`| how do shared payloads become one viewer's RTP packets?                     |
| `udp_batch`    | how do the packets of one picture leave in one system call?                 |
| `loop_post`    | how does a thread hand something to an event loop that may be gone?         |
| `ice`          | which servers and addresses does a peer connection use?                     |
| `offer`        | is this SDP offer one that can be answered?                                 |
| `peer`         | how does one peer connection live, and end without a trace?                 |
| `viewers`      | WHEP server side                                                            |
| `webcam`       | WHIP server side                                                            |

HTTP and gRPC are not here: a service hands SDP text in and gets SDP text out.
"""
