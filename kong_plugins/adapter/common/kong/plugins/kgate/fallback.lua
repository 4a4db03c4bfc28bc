--- header_filter: replaces a failed answer by the route's prepared one, from the first failure on.
--
-- | source  | condition                                                     | word      |
-- |---------|---------------------------------------------------------------|-----------|
-- | service | the service answered: listed statuses                         |           |
-- | error   | the request had left for the service: 502                     | refused   |
-- |         |                                       504                     | timeout   |
-- |         |                                       503                     | no_target |
-- | exit    | it had not, access passed, there is a service, no plugin answered: 503 | no_target |
--
-- An answer that a plugin or the gateway made is never replaced.

local pairs, tostring = pairs, tostring
local kong = kong

local M = {}

local WORDS = { [502] = "refused", [503] = "no_target", [504] = "timeout" }

-- of the answer that is replaced: they describe it, or would start something in the client's name
local CLEAR = {
  "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Location", "Content-Range",
  "Content-Type", "Content-Length", "Accept-Ranges", "ETag", "Last-Modified", "Set-Cookie", "Cache-Control",
  "Expires", "Age", "Pragma", "Retry-After", "Location", "Refresh", "Link", "WWW-Authenticate", "Trailer",
  "Digest", "Content-Digest", "Repr-Digest", "Content-MD5",
}

--- Whether a failed answer may be replaced, and the word of Kong's own error (or nil).
-- source: kong.response.get_source(); proxied: the request left for the service; passed: our guard let it pass;
-- delayed: the status that a plugin answered with in access, or nil.
function M.classify(source, status, proxied, passed, delayed, has_service)
  if not passed or delayed or not has_service then
    return false
  end
  if source == "service" then
    return true
  end
  if status < 500 then
    return false
  end
  if source == "error" and proxied then
    return true, WORDS[status]
  end
  if source == "exit" and not proxied then
    return true, status == 503 and "no_target" or nil
  end
  return false
end

--- The first prepared answer with a matching token, and the token.
function M.choose(answers, status, word)
  local text = tostring(status)
  for i = 1, #answers do
    local answer = answers[i]
    for k = 1, #answer.on do
      local token = answer.on[k]
      if token == text or (word and token == word) then
        return answer, token
      end
    end
  end
  return nil
end

--- Answer with a prepared one instead. Only in header_filter, where exit returns.
function M.swap(answer, token)
  for i = 1, #CLEAR do
    kong.response.clear_header(CLEAR[i])
  end
  local headers = { ["X-Fallback"] = answer.name .. "; reason=" .. token }
  for name, value in pairs(answer.headers) do
    headers[name] = value
  end
  -- always a body, if an empty one: without it Kong would let the old one through
  return kong.response.exit(answer.status, answer.body, headers)
end

return M
