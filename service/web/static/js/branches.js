// Where the messages of a conversation stand to each other. Pure. A question that was edited and an answer that was
// made again are children of the same message: branches, of which one is shown.

// The messages from the first one down to the one with this id.
export function pathTo(messages, id) {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const path = [];
  for (let message = byId.get(id); message; message = byId.get(message.parent_id)) path.unshift(message);
  return path;
}

// The first message with these words in it: of the branch down to `leafId`, or else of any.
export function holding(messages, leafId, words) {
  const holds = (message) => message.content.toLowerCase().includes(words.toLowerCase());
  return pathTo(messages, leafId).find(holds) || messages.find(holds);
}

// All versions of a message, the oldest first.
export function versionsOf(messages, message) {
  return messages
    .filter((other) => other.parent_id === message.parent_id && other.role === message.role)
    .sort((one, other) => one.id - other.id);
}
