"""How does an access unit that many viewers share become one viewer's RTP packets?

aiortc's `RTCRtpSender` splits, wraps and stamps every packet for every viewer, some 60 µs each.
All that differs between viewers is the 12-byte RTP header, so here the payloads (`rtp_h264`) come
ready-made and shared; a viewer adds its header and its SRTP, and the packets of a picture leave
together (`udp_batch`). No viewer has a task, a timer or a queue of its own for media.

What else an RTP sender owes (RFC 3550, 4585, 4588) is here too:

- sender reports, which leave with the media they are about, and BYE;
- retransmission on NACK, from a short history that refers to the shared payloads;
- loss reports (PLI, FIR) go to the publisher, which makes one IDR for all;
- no bandwidth estimation: the one encoding cannot follow each viewer's link.

Wire format of a packet, with the header extension (RFC 8285, one-byte form) where negotiated:

    V=2 P X CC | M PT | sequence | timestamp | SSRC          12 bytes
    0xBEDE | length in words | (id << 4 | size - 1) value … zero padding
    payload

The playout-delay extension (min = max = 0, 12 bits each) asks a browser to show a picture as soon
as it is decoded instead of smoothing over a jitter buffer.
"""

import logging
import random
import time
from collections import deque
from struct import pack
from typing import NamedTuple

from aiortc import RTCRtpSender, RTCRtpTransceiver, clock
from aiortc.codecs import is_rtx
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpSendParameters
from aiortc.rtp import (
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)
from aiortc.stats import RTCOutboundRtpStreamStats, RTCStatsReport

from semcast.media.h264 import AccessUnit
from semcast.media.publisher import PublisherTrack
from semcast.media.udp_batch import BatchSocket

logger = logging.getLogger(__name__)

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
PLAYOUT_DELAY_URI = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
EXTENSION_URIS = (MID_URI, PLAYOUT_DELAY_URI)

HISTORY_UNITS = 32
"""Access units kept for retransmission: four seconds at 8 fps."""

REPORT_INTERVAL_S = 5.0
"""Least distance of sender reports (RFC 3550 section 6.2)."""


class _Sent(NamedTuple):
    """One access unit as this viewer got it."""

    first_sequence: int
    timestamp: int
    payloads: tuple[bytes, ...]


def header_extension(extensions: list[RTCRtpHeaderExtensionParameters], mid: str) -> bytes:
    """The header extension block, the same for all packets of a viewer; empty if none was agreed.

    Ids above 14 would need the two-byte form; browsers give ours small ids, and one that is not
    small is left out.
    """
    values = {MID_URI: mid.encode(), PLAYOUT_DELAY_URI: bytes(3)}
    elements = b""
    for extension in extensions:
        value = values.get(extension.uri, b"")
        if 1 <= extension.id <= 14 and 1 <= len(value) <= 16:
            elements += bytes([extension.id << 4 | len(value) - 1]) + value
    if not elements:
        return b""
    elements += bytes(-len(elements) % 4)
    return pack("!HH", 0xBEDE, len(elements) // 4) + elements


class FanoutSender(RTCRtpSender):
    """Sends one viewer the access units of a publisher's track.

    It takes the place of the sender that aiortc makes for a transceiver (`take_over`).
    """

    def __init__(self, track: PublisherTrack, transport: RTCDtlsTransport) -> None:
        super().__init__(track, transport)
        self._source = track
        self._started = False
        self._sequence = random.randrange(1 << 15)  # low half: a wrap is hard on SRTP early on
        self._rtx_sequence = random.randrange(1 << 15)
        self._timestamp_origin = random.getrandbits(32)
        self._payload_type = 0
        self._rtx_payload_type: int | None = None
        self._first_byte = 0x80
        self._extension = b""
        self._cname = ""
        self._history: deque[_Sent] = deque(maxlen=HISTORY_UNITS)
        self._socket: BatchSocket | None = None
        self._next_report_s = 0.0
        self._packets_sent = 0
        self._payload_bytes_sent = 0

    @classmethod
    def take_over(cls, transceiver: RTCRtpTransceiver, track: PublisherTrack) -> "FanoutSender":
        """Makes a sender the transceiver's, before any description is set.

        aiortc has no parameter for this; the one attribute that holds the sender is replaced.
        """
        stock = transceiver.sender
        sender = cls(track, stock.transport)
        sender._stream_id = stock._stream_id
        transceiver._RTCRtpTransceiver__sender = sender  # type: ignore[attr-defined]
        assert transceiver.sender is sender
        transceiver.receiver._set_rtcp_ssrc(sender._ssrc)
        return sender

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Starts sending; called by the peer connection once DTLS is up."""
        if self._started:
            return
        self._started = True
        codec = parameters.codecs[0]
        assert codec.payloadType is not None  # negotiated
        self._payload_type = codec.payloadType
        for other in parameters.codecs:
            if is_rtx(other) and other.parameters["apt"] == codec.payloadType:
                self._rtx_payload_type = other.payloadType
        self._extension = header_extension(parameters.headerExtensions, parameters.muxId)
        self._first_byte = 0x90 if self._extension else 0x80
        self._cname = parameters.rtcp.cname or ""
        self.transport._register_rtp_sender(self, parameters)
        try:
            self._source.play(self._send_unit)
        except MediaStreamError:
            self._source.stop()  # the publisher closed while this viewer connected

    async def stop(self) -> None:
        """Ends sending for good, with a BYE."""
        self._source.stop()
        if not self._started:
            return
        self.transport._unregister_rtp_sender(self)
        try:
            await self.transport._send_rtp(bytes(RtcpByePacket(sources=[self._ssrc])))
        except ConnectionError:
            logger.debug("viewer left before its BYE")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def getStats(self) -> RTCStatsReport:
        report = RTCStatsReport()
        report.add(
            RTCOutboundRtpStreamStats(
                timestamp=clock.current_datetime(),
                type="outbound-rtp",
                id=f"outbound-rtp_{id(self)}",
                ssrc=self._ssrc,
                kind="video",
                transportId=self.transport._stats_id,
                packetsSent=self._packets_sent,
                bytesSent=self._payload_bytes_sent,
                trackId=self._source.id,
            )
        )
        report.update(self.transport._get_stats())
        return report

    def _send_unit(self, unit: AccessUnit) -> None:
        timestamp = (self._timestamp_origin + unit.ticks) & 0xFFFFFFFF
        sent = _Sent(self._sequence, timestamp, unit.payloads)
        self._history.append(sent)
        count = len(unit.payloads)
        self._sequence = (self._sequence + count) & 0xFFFF
        self._send_packets([self._packet(sent, index) for index in range(count)])
        self._packets_sent += count
        self._payload_bytes_sent += unit.payload_bytes
        now_s = time.monotonic()
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + REPORT_INTERVAL_S
            self._send_report(timestamp)

    def _packet(self, sent: _Sent, index: int) -> bytes:
        marker = 0x80 if index == len(sent.payloads) - 1 else 0
        header = pack(
            "!BBHLL",
            self._first_byte,
            marker | self._payload_type,
            (sent.first_sequence + index) & 0xFFFF,
            sent.timestamp,
            self._ssrc,
        )
        return header + self._extension + sent.payloads[index]

    def _rtx_packet(self, sent: _Sent, index: int) -> bytes:
        """The packet as RFC 4588 sends it again: own SSRC and sequence, the old one in front."""
        assert self._rtx_payload_type is not None
        marker = 0x80 if index == len(sent.payloads) - 1 else 0
        header = pack(
            "!BBHLL",
            self._first_byte,
            marker | self._rtx_payload_type,
            self._rtx_sequence,
            sent.timestamp,
            self._rtx_ssrc,
        )
        self._rtx_sequence = (self._rtx_sequence + 1) & 0xFFFF
        original = pack("!H", (sent.first_sequence + index) & 0xFFFF)
        return header + self._extension + original + sent.payloads[index]

    def _send_packets(self, packets: list[bytes]) -> None:
        """Encrypts and sends. Goes around `RTCDtlsTransport._send_rtp`, which takes one packet."""
        protect = self.transport._tx_srtp.protect
        self._send_datagrams([protect(packet) for packet in packets])

    def _send_datagrams(self, datagrams: list[bytes]) -> None:
        pair = self.transport.transport._connection._nominated.get(1)
        if pair is None:
            return  # ICE has just ended; the peer is being closed
        if self._socket is None or self._socket.transport is not pair.protocol.transport:
            if self._socket is not None:
                self._socket.close()
            self._socket = BatchSocket(pair.protocol.transport)
        self._socket.send(datagrams, pair.remote_addr)

    def _send_again(self, sequence_numbers: list[int]) -> None:
        packets = []
        for sequence in sequence_numbers:
            for sent in self._history:
                index = (sequence - sent.first_sequence) & 0xFFFF
                if index < len(sent.payloads):
                    rtx = self._rtx_payload_type is not None
                    packets.append(
                        self._rtx_packet(sent, index) if rtx else self._packet(sent, index)
                    )
        if packets:
            self._send_packets(packets)

    def _send_report(self, timestamp: int) -> None:
        sender = RtcpSenderInfo(
            ntp_timestamp=clock.current_ntp_time(),
            rtp_timestamp=timestamp,
            packet_count=self._packets_sent & 0xFFFFFFFF,
            octet_count=self._payload_bytes_sent & 0xFFFFFFFF,
        )
        name = RtcpSourceInfo(ssrc=self._ssrc, items=[(1, self._cname.encode())])
        report = bytes(RtcpSrPacket(ssrc=self._ssrc, sender_info=sender))
        report += bytes(RtcpSdesPacket(chunks=[name]))
        self._send_datagrams([self.transport._tx_srtp.protect_rtcp(report)])

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            self._send_again(packet.lost)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            self._source.request_idr()
