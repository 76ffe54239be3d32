// What was written and not sent, kept in this browser for each conversation. Nothing stays after sending or logging out.

const PREFIX = "ferry-draft:";
const NEW = "new";

export class Drafts {
  constructor(userId) {
    this.prefix = PREFIX + userId + ":";
    forget((key) => !key.startsWith(this.prefix)); // somebody else's, whose login ended by itself
  }

  get(conversationId) {
    return attempt(() => window.localStorage.getItem(this.key(conversationId))) || "";
  }

  put(conversationId, text) {
    attempt(() => {
      if (text.trim()) window.localStorage.setItem(this.key(conversationId), text);
      else window.localStorage.removeItem(this.key(conversationId));
    });
  }

  // It was sent, and accepted; what was written since stays.
  drop(conversationId, text) {
    if (this.get(conversationId) === text) this.put(conversationId, "");
  }

  forgetAll() {
    forget(() => true);
  }

  key(conversationId) {
    return this.prefix + (conversationId || NEW);
  }
}

function forget(isMeant) {
  attempt(() => {
    for (const key of Object.keys(window.localStorage)) {
      if (key.startsWith(PREFIX) && isMeant(key)) window.localStorage.removeItem(key);
    }
  });
}

// A browser may forbid storage, or have no room: then there are no drafts.
function attempt(action) {
  try {
    return action();
  } catch (_) {
    return null;
  }
}
