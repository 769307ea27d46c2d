#!/usr/bin/env bash
# Deploys ListBackup to AWS, or shows what would change. See `deploy/deploy.sh --help` and deploy/README.md.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export AWS_PAGER=''
# Version 1 of the aws command knows the other name only.
if [ -n "${AWS_REGION:-}" ]; then export AWS_DEFAULT_REGION="$AWS_REGION"; fi

usage() {
  cat <<'END'
Usage: deploy/deploy.sh STAGE all|SERVICE [--dry-run] [--image URI]

Deploys the CloudFormation stacks of one installation, one after the other, and stops at the first that fails.
What has not changed is left alone, so that a second time does nothing.

  STAGE       a file in deploy/parameters: test, staging, production or your own
  all         everything, in this order; or one of it:
                core       tables, bucket, queues, event bus, key, user pool, alarm topic
                cluster    network, load balancers, ECS cluster, image repository
                roles      what all roles share
                api        the HTTP entry
                auth accounts integrations sources jobs data activity billing analytics webhooks system
                           a service that answers HTTP, with its role
                workers    worker, scheduler and indexer, with their roles
                dashboard  a page of CloudWatch
  --dry-run   shows the change set of each stack and deploys nothing
  --image     the image that services and workers run; without it they stay at theirs

AWS is found as the aws command finds it: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL for a stand-in, …
Exit codes: 0 done, 1 a stack failed, 2 wrong usage.
END
}

wrong() {
  printf 'deploy: %s\n' "$@" >&2
  echo "deploy: see deploy/deploy.sh --help" >&2
  exit 2
}

fail() {
  printf 'deploy: %s\n' "$1" >&2
  shift
  if [ $# -gt 0 ]; then printf '%s\n' "$@" >&2; fi
  exit 1
}

# ---- Settings: parameters/STAGE.json has a section for each template, and one for each service, which is laid over `service`.

# Calls one of the functions below with the stage's file and services.json.
settings() {
  python3 - "$here" "$stage" "$@" <<'END'
import json, re, sys

here, stage, ask, *rest = sys.argv[1:]

def read(name):
    try:
        with open(f"{here}/{name}") as file:
            return json.load(file)
    except ValueError as error:
        sys.exit(f"deploy: deploy/{name} is not JSON: {error}")

services = read("services.json")
sections = read(f"parameters/{stage}.json")
templates = ["core", "cluster", "roles", "api", "service", "workers", "dashboard"]
unknown = [name for name in sections if name not in templates and name not in services]
if unknown:
    sys.exit(f"deploy: deploy/parameters/{stage}.json has sections of nothing: {', '.join(unknown)}")

if ask == "services":
    print(*services)
else:
    # NAME IMAGE KIND: the parameters of a stack, as words or in JSON.
    name, image, kind = rest
    # Roles know the stage alone.
    values = {"Stage": stage}
    is_role = name == "roles" or name.startswith("role-")
    if name in services:
        about = services[name]
        values |= {"Service": name, "Paths": about["Paths"], "Priority": about["Priority"]}
        values["DirectEntry"] = "true" if sections.get("cluster", {}).get("DirectCertificateArn") else "false"
        values |= sections.get("service", {})
    values |= sections.get(name, {})
    parameters = []
    if name in services or name == "workers":
        if image:
            values["Image"] = image
        elif "Image" not in values:
            if kind == "CREATE":
                sys.exit(f"deploy: which image is {name} to run? Say --image URI the first time")
            parameters.append({"ParameterKey": "Image", "UsePreviousValue": True})
    file = "roles/shared" if is_role else "service" if name in services else name
    with open(f"{here}/templates/{file}.yaml") as template:
        template = template.read()
    known = re.findall(r"^  (\w+):$", re.search(r"^Parameters:\n((?:  .*\n)+)", template, re.M)[1], re.M)
    unknown = [key for key in values if key not in known]
    if unknown:
        sys.exit(f"deploy: deploy/parameters/{stage}.json: {name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    # A value that is an object, such as the plans, is handed on as JSON.
    values = {key: json.dumps(value) if isinstance(value, dict) else str(value) for key, value in values.items()}
    if ask == "words":
        print(*[f"{key}={value}" for key, value in values.items()], sep="\n")
    else:
        parameters += [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
        print(json.dumps(parameters))
END
}

# ---- One stack

cf() { aws cloudformation "$@"; }

# What CloudFormation says of a stack now; empty when there is none.
status_of() { cf describe-stacks --stack-name "$1" --query 'Stacks[0].StackStatus' --output text 2>/dev/null || true; }

# The same at the start.
status_in_list() { awk -F'\t' -v stack="$1" '$1 == stack { print $2 }' <<<"$listed"; }

# deploy_stack NAME TEMPLATE: creates or updates listbackup-STAGE-NAME.
deploy_stack() {
  local name="$1" template="$2" stack="listbackup-$stage-$1" kind=UPDATE status parameters
  status="$(status_in_list "$stack")"
  case "$status" in
    '' | REVIEW_IN_PROGRESS) kind=CREATE ;;
    ROLLBACK_COMPLETE | ROLLBACK_FAILED)
      if [ "$dry_run" = true ]; then
        echo "$name: an earlier attempt to create it failed; it would be removed and created anew"
        return
      fi
      echo "$name: an earlier attempt to create it failed; its remains are removed"
      cf delete-stack --stack-name "$stack"
      wait_for "$stack" DELETE_COMPLETE || explain "$name" "$stack"
      kind=CREATE
      ;;
    *_IN_PROGRESS) fail "$name: something else is changing $stack ($status); wait for it, then try again" ;;
    UPDATE_ROLLBACK_FAILED)
      fail "$name: an earlier change could not be taken back; see: aws cloudformation continue-update-rollback --stack-name $stack"
      ;;
  esac
  if [ "$kind" = CREATE ] && [ "$dry_run" = false ]; then
    parameters="$(settings words "$name" "$image" "$kind")" || exit 1
    create "$name" "$stack" "$template" "$parameters"
  else
    parameters="$(settings parameters "$name" "$image" "$kind")" || exit 1
    change "$name" "$stack" "$template" "$kind" "$parameters"
  fi
}

# Makes a stack that is not there. All of it is new, so there is nothing to show first.
create() {
  local name="$1" stack="$2" template="$3" answer pairs=()
  while IFS= read -r pair; do pairs+=("$pair"); done <<<"$4"
  echo "$name: $stack is made"
  if ! answer="$(cf deploy --stack-name "$stack" --template-file "$here/templates/$template" \
    --parameter-overrides "${pairs[@]}" --capabilities CAPABILITY_NAMED_IAM \
    --tags application=listbackup "stage=$stage" 2>&1)"; then
    if [ -z "$(status_of "$stack")" ]; then refused "$name" "$answer" || exit 1; fi
    explain "$name" "$stack" "$answer"
  fi
  echo "$name: deployed"
}

# Makes the change set, shows it, and carries it out.
change() {
  local name="$1" stack="$2" template="$3" kind="$4" parameters="$5" set answer
  set="deploy-$(date -u +%Y%m%d-%H%M%S)-$$"
  answer="$(cf create-change-set --stack-name "$stack" --change-set-name "$set" --change-set-type "$kind" \
    --template-body "file://$here/templates/$template" --parameters "$parameters" --capabilities CAPABILITY_NAMED_IAM \
    --tags Key=application,Value=listbackup "Key=stage,Value=$stage" --query Id --output text 2>&1)" ||
    { refused "$name" "$answer" && return || exit 1; }
  if ! prepared "$name" "$stack" "$set" "$kind"; then
    discard "$stack" "$set" "$kind"
    return
  fi
  if [ "$dry_run" = true ]; then
    discard "$stack" "$set" "$kind"
    return
  fi
  cf execute-change-set --stack-name "$stack" --change-set-name "$set" || fail "$name: the change set $set could not be carried out"
  wait_for "$stack" "${kind}_COMPLETE" || explain "$name" "$stack"
  echo "$name: deployed"
}

# Waits for the change set and shows it. Fails when there is nothing to do.
prepared() {
  local name="$1" stack="$2" set="$3" kind="$4" told status reason
  for ((second = 0; second < 300; second += 1)); do
    told="$(cf describe-change-set --stack-name "$stack" --change-set-name "$set" --output text \
      --query '[[Status,StatusReason],Changes[].ResourceChange.[Action,LogicalResourceId,ResourceType,Replacement]]')"
    IFS=$'\t' read -r status reason <<<"$(head -n 1 <<<"$told")"
    case "$status" in
      CREATE_COMPLETE)
        echo "$name: $stack"
        sed 1d <<<"$told" | awk -F'\t' '{ printf "  %-7s %-28s %s%s\n", $1, $2, $3, ($4 == "True" ? "  IS REPLACED" : "") }'
        guard "$name" "$told"
        return 0
        ;;
      FAILED)
        case "$reason" in
          *"didn't contain changes"* | *'No updates are to be performed'*)
            echo "$name: no changes"
            return 1
            ;;
        esac
        discard "$stack" "$set" "$kind"
        if refused "$name" "$reason"; then return 1; else exit 1; fi
        ;;
    esac
    sleep 1
  done
  fail "$name: CloudFormation does not finish the change set $set"
}

# A stack that needs another one first is nothing to stop at while everything is only shown.
refused() {
  local name="$1" reason="$2"
  if [[ "$reason" == *'No export named'* ]]; then
    if [ "$dry_run" = true ]; then
      echo "$name: can be shown once the stacks before it are deployed"
      return 0
    fi
    echo "deploy: $name needs a stack that is not there yet; the order is: ${order[*]}" >&2
  fi
  printf 'deploy: %s: CloudFormation refuses the change: %s\n' "$name" "$reason" >&2
  return 1
}

# A table, bucket, key, pool or queue that is replaced leaves what it holds behind.
guard() {
  local name="$1" replaced
  replaced="$(awk -F'\t' '$4 == "True" && $3 ~ /^AWS::(DynamoDB::Table|S3::Bucket|KMS::Key|Cognito::UserPool|SQS::Queue)$/ { print $2 }' <<<"$2")"
  if [ -n "$replaced" ] && [ "$dry_run" = false ]; then
    fail "$name: would leave behind what is in: ${replaced//$'\n'/, }" "move the data first, and make this change by hand"
  fi
}

# Removes a change set that is not carried out, with the empty stack that it stands in.
discard() {
  cf delete-change-set --stack-name "$1" --change-set-name "$2" >/dev/null 2>&1 || true
  if [ "$3" = CREATE ]; then
    cf delete-stack --stack-name "$1" >/dev/null 2>&1 || true
  fi
}

# Waits until the stack has come to rest; fails when that is not in the given status.
wait_for() {
  local stack="$1" wanted="$2" status pause=0
  for ((waited = 0; waited < 3600; waited += pause)); do
    sleep "$pause"
    status="$(status_of "$stack")"
    case "$status" in
      "$wanted") return 0 ;;
      # Not there, or no answer.
      '') [ "$wanted" != DELETE_COMPLETE ] || return 0 ;;
      UPDATE_COMPLETE_CLEANUP_IN_PROGRESS) [ "$wanted" != UPDATE_COMPLETE ] || return 0 ;;
      *_IN_PROGRESS) ;;
      *) return 1 ;;
    esac
    pause=$((pause < 5 ? pause + 1 : 5))
  done
  echo "deploy: $stack has not come to rest within an hour" >&2
  return 1
}

# explain NAME STACK [ANSWER]: says which resources of the last change failed, and why; then ends.
explain() {
  local reasons
  reasons="$(cf describe-stack-events --stack-name "$2" --max-items 200 --output text \
    --query 'StackEvents[].[ResourceStatus,LogicalResourceId,ResourceType,ResourceStatusReason]' |
    awk -F'\t' '
      $4 == "User Initiated" { exit }
      $1 ~ /FAILED$/ && $4 !~ /cancelled/ { printf "  %s (%s): %s\n", $2, $3, $4 }')"
  # Refused before it began.
  if [ -z "$reasons" ]; then reasons="${3:-}"; fi
  if [[ "$reasons" == *[Ee]xport* ]]; then reasons+=$'\n'"  A stack that comes before it is missing; the order is: ${order[*]}"; fi
  fail "$1 failed; $2 is in $(status_of "$2"):" "$reasons"
}

# ---- What belongs together

deploy() {
  local role
  case "$1" in
    roles) deploy_stack roles roles/shared.yaml ;;
    core | cluster | api | dashboard) deploy_stack "$1" "$1.yaml" ;;
    workers)
      for role in worker scheduler indexer; do deploy_stack "role-$role" "roles/$role.yaml"; done
      deploy_stack workers workers.yaml
      ;;
    *)
      if [ -z "$(status_in_list "listbackup-$stage-$1")" ]; then settings words "$1" "$image" CREATE >/dev/null || exit 1; fi
      deploy_stack "role-$1" "roles/$1.yaml"
      deploy_stack "$1" service.yaml
      ;;
  esac
}

stage='' target='' image='' dry_run=false
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) usage && exit 0 ;;
    --dry-run) dry_run=true ;;
    --image) [ $# -gt 1 ] && [ -n "$2" ] || wrong '--image needs the URI of an image' && image="$2" && shift ;;
    -*) wrong "there is no option $1" ;;
    *) if [ -z "$stage" ]; then stage="$1"; elif [ -z "$target" ]; then target="$1"; else wrong "one service at a time: $1 is too much"; fi ;;
  esac
  shift
done
stages="$(cd "$here/parameters" && echo *.json)"
[ -n "$stage" ] && [ -n "$target" ] || wrong 'say which STAGE, and all or which SERVICE'
[[ "$stage" =~ ^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$ ]] || wrong "the stage $stage is not 1 to 20 lower-case letters, digits and hyphens"
[ -f "$here/parameters/$stage.json" ] || wrong "there is no deploy/parameters/$stage.json; there are: ${stages//.json/}"
command -v python3 >/dev/null || fail 'python3 is needed'
command -v aws >/dev/null || fail 'the aws command is needed: https://docs.aws.amazon.com/cli or pip install awscli'

served="$(settings services)" || exit 1
read -ra order <<<"core cluster roles api $served workers dashboard"
targets=("$target")
if [ "$target" = all ]; then
  targets=("${order[@]}")
elif [[ " ${order[*]} " != *" $target "* ]]; then
  wrong "there is no service $target; there are: all core cluster roles api $served workers dashboard"
fi

listed="$(cf describe-stacks --query 'Stacks[].[StackName,StackStatus]' --output text)" ||
  fail 'AWS does not answer: are credentials and region there (AWS_PROFILE, AWS_REGION)?'

for part in "${targets[@]}"; do deploy "$part"; done
if [ "$dry_run" = true ]; then echo 'nothing was deployed'; fi
