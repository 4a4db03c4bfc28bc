--- header_filter: replaces a failed answer by the route's prepared one, from the first failure on.
--
-- | source  | condition                                                     | word      |
-- |---------|---------------------------------------------------------------|-----------|
-- | service | the service answered: listed statuses                         |           |
-- | error   | the request had left for the service: 502, no connection      | refused   |
-- |         |                                       502, there was one         | reset     |
-- |         |                                       504                     | timeout   |
-- |         |                                       503                     | no_target |
-- | exit    | it had not, access passed, there is a service, no plugin answered: 503 | no_target |
--
-- An answer that a plugin or the gateway made is never replaced.

local pairs, tostring, ceil, type = pairs, tostring, math.ceil, type
local find, gmatch, gsub, match = string.find, string.gmatch, string.gsub, string.match
local lower, sub = string.lower, string.sub
local ngx, kong = ngx, kong

local M = {}

local WORDS = { [502] = "refused", [503] = "no_target", [504] = "timeout" }

-- of the answer that is replaced: they describe it, or would start something in the client's name
local CLEAR = {
  "Content-Encoding", "Content-Language", "Content-Disposition", "Content-Location", "Content-Range",
  "Content-Type", "Content-Length", "Accept-Ranges", "ETag", "Last-Modified", "Set-Cookie", "Cache-Control",
  "Expires", "Age", "Pragma", "Retry-After", "Location", "Refresh", "Link", "WWW-Authenticate", "Trailer",
  "Digest", "Content-Digest", "Repr-Digest", "Content-MD5", "Server",
  "grpc-status", "grpc-message",
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

--- "reset" in place of "refused" where the last try had a connection: nginx writes "-" for one that had none.
-- connect_times: $upstream_connect_time.
function M.refine(word, connect_times)
  if word == "refused" and connect_times then
    local last = match(connect_times, "([^%s,:]+)%s*$")
    if last and last ~= "-" then
      return "reset"
    end
  end
  return word
end

-- Whether an Accept header takes a media type (RFC 9110 section 12.5.1); absent it takes all. The most specific
-- range that names the type decides; q=0 refuses it.
local function accepts(header, media_type)
  if not header or not find(header, "%S") then
    return true
  end
  local any = match(media_type, "^[^/]*") .. "/*"
  local best, taken = 0, false
  for part in gmatch(lower(header), "[^,]+") do
    local name = match(part, "^%s*([^%s;]*)")
    local rank = name == media_type and 3 or name == any and 2 or name == "*/*" and 1 or 0
    if rank > best then
      best = rank
      taken = true
      for word in gmatch(part, ";([^;]*)") do
        if find(word, "^%s*q%s*=%s*0%.?0*%s*$") then
          taken = false
        end
      end
    end
  end
  return taken
end
M.accepts = accepts

local function contains(list, value)
  for i = 1, #list do
    if list[i] == value then
      return true
    end
  end
  return false
end

-- Whether the request has the method, path and Accept that the answer is for.
local function fits(answer)
  if answer.methods then
    local method = kong.request.get_method()
    if not contains(answer.methods, method) and not (method == "HEAD" and contains(answer.methods, "GET")) then
      return false
    end
  end
  if answer.paths then
    local path, found = kong.request.get_path(), false
    for i = 1, #answer.paths do
      found = found or find(path, answer.paths[i]) ~= nil
    end
    if not found then
      return false
    end
  end
  -- the variable has all of several (RFC 9110 section 5.3), kong.request.get_header the first
  return not answer.accept or accepts(ngx.var.http_accept, answer.accept)
end

--- The first prepared answer with a matching token that fits the request, and the token.
function M.choose(answers, status, word)
  local text = tostring(status)
  for i = 1, #answers do
    local answer = answers[i]
    for k = 1, #answer.on do
      local token = answer.on[k]
      if (token == text or (word and (token == word or (word == "reset" and token == "refused")))) and fits(answer) then
        return answer, word == "reset" and token == "refused" and word or token
      end
    end
  end
  return nil
end

local function fill(text, values)
  return (gsub(text, "{{ *([a-z_]+) *}}", values))
end

-- The answer with its placeholders filled in: nothing of the request's content among them.
local function filled(answer, request_id)
  local values = {
    request_id = request_id or "", retry_after = tostring(answer.retry_after or 0),
    time = ngx.http_time(ngx.now()),
  }
  local headers = {}
  for name, value in pairs(answer.headers) do
    headers[name] = type(value) == "string" and fill(value, values) or value
  end
  return fill(answer.body, values), headers
end

local function is_grpc()
  local content_type = kong.request.get_header("content-type")
  return content_type ~= nil and sub(lower(content_type), 1, 16) == "application/grpc"
end

-- What the service said of its answer in headers of its own; those of plugins, and what lets a browser's script see the
-- answer at all, stay.
local KEPT = { date = true, connection = true, vary = true, via = true, ["transfer-encoding"] = true }

local function clear_services()
  local var = ngx.var
  for name in pairs(ngx.resp.get_headers(100)) do
    local key = lower(name)
    if not KEPT[key] and sub(key, 1, 15) ~= "access-control-" and var["upstream_http_" .. gsub(key, "%-", "_")] then
      kong.response.clear_header(name)
    end
  end
end

--- Another answer in header_filter, where exit returns. nginx throws the request's body away after it, and would send
-- a "100 Continue" then where nobody has read the body (Kong 3.9.3).
function M.exit(status, body, headers)
  ngx.req.clear_header("Expect")
  return kong.response.exit(status, body, headers)
end

--- Answer with a prepared one instead.
function M.swap(answer, token, request_id)
  for i = 1, #CLEAR do
    kong.response.clear_header(CLEAR[i])
  end
  clear_services()
  local mark = answer.name .. "; reason=" .. token
  if is_grpc() then
    return M.exit(200, "", {
      ["Content-Type"] = "application/grpc", ["Cache-Control"] = "no-store", ["X-Fallback"] = mark,
      ["grpc-status"] = tostring(answer.grpc_status or 14), ["grpc-message"] = "no answer of the service",
    })
  end
  local body, own = answer.body, answer.headers
  if answer.filled then
    body, own = filled(answer, request_id)
  end
  local headers = { ["X-Fallback"] = mark }
  for name, value in pairs(own) do
    headers[name] = value
  end
  if answer.retry_after then
    headers["Retry-After"] = tostring(ceil(answer.retry_after))
  end
  -- always a body, if an empty one: without it Kong would let the old one through
  return M.exit(answer.status, body, headers)
end

return M
