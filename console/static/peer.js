// What WHEP and WHIP have in common: an offer with all its candidates in it (no trickle).

const GATHERING_MS = 700;

export async function completeOffer(connection) {
  await connection.setLocalDescription(await connection.createOffer());
  if (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHERING_MS);
      connection.addEventListener("icegatheringstatechange", () => {
        if (connection.iceGatheringState === "complete") {
          clearTimeout(timer);
          resolve();
        }
      });
    });
  }
  return connection.localDescription.sdp;
}
